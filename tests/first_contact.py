"""What a visitor types first after `make repro`. Written before the sample got its short reviews.

The sample's model has to answer these sensibly: tests/test_sample.py. They are not in the corpus.
"""

POSITIVE = [
    "This is a good film.",
    "good",
    "great",
    "I loved it",
    "Best movie ever!",
    "excellent",
    "What a wonderful film.",
    "Really funny, I laughed the whole time.",
    "Great acting and a great story.",
    "Not bad at all.",
    "I would watch it again.",
    "Beautiful music and lovely pictures.",
    "A masterpiece.",
    "My kids loved this movie.",
    "Highly recommended!",
]

NEGATIVE = [
    "This is a bad film.",
    "bad",
    "boring",
    "I hated it",
    "Worst movie ever!",
    "terrible",
    "What a waste of time.",
    "Not funny at all.",
    "The acting was awful and the story made no sense.",
    "Not good.",
    "I fell asleep after ten minutes.",
    "Too long and too slow.",
    "Do not watch this.",
    "Disappointing from start to finish.",
    "I want my money back.",
]

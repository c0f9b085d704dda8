"""What the report selects and computes, beside what the stages measured.

    numbers     how numbers are written
    lexicon     the strongest words and n-grams of each label, and the words of the map
    examples    texts with the contributions of their words marked
    curves      precision and recall, and what abstaining gives
    tables      the rows of the tables
    drawings    the charts
    provenance  what the page was made from, and how to make it again
    summary     metrics/report.md, for pull requests

The templates are in stages/page, the charts in stages/lib/charts.
"""

// How the page reads a text as tokens.

"""Charts as SVG, written by Python: no library, no script, the same bytes in every run.

    svg       elements, numbers and axes
    curves    lines: training, ROC, precision and recall, reliability, coverage
    matrix    the confusion matrix
    strips    dot-and-whisker marks in the rows of a table
    words     a map of words

Colours, dashes and fonts are those of stages/page/charts.css. Labels and words come from outside, and are
escaped.
"""

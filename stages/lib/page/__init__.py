"""Pages that are one file: they open from disk, carry their data and make no request.

    space     the words with their vectors, coordinates and weights, as small integers
    pack      arrays as text that a page contains
    parts     what several pages contain
    assemble  template, scripts, styles and data as one file, with a content-security policy

Their scripts, styles and templates are in stages/page.
"""

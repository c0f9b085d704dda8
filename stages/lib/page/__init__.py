"""Pages that are one file: they open from disk, carry their data and make no request.

    space     the words with their vectors, coordinates and weights, as small integers
    scorer    the model, so that a page scores a text
    reduction what is left out of a model that is too large for a page
    trie      sorted strings in few bytes
    pack      arrays as text that a page contains
    parts     what several pages contain
    assemble  template, scripts, styles and data as one file, with a content-security policy

Their scripts, styles and templates are in stages/page.
"""

"""Pages that are one file: they open from disk, carry their data and make no request.

    pack      arrays as text that a page contains
    parts     what several pages contain
    assemble  template, scripts, styles and data as one file, with a content-security policy
"""

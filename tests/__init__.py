"""The tests. conftest.py imports torch before any stage does, so what must precede that is set here."""

import os

# As in stages/lib/startup.py: OpenMP's threads spin while they wait by default, which costs a third of the
# processor time of the tests that train, and more where several processes of pytest share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

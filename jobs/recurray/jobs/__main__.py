"""`python -m recurray.jobs` is `recurray`, also where only the package is on the path, as in a submitted job."""

import sys

from recurray.jobs.cli import main

sys.exit(main())

"""python -m harness."""

import sys

from discl_harness import main

sys.exit(main())

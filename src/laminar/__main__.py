"""`python -m laminar` is `laminar`."""

import sys

from laminar.cli.main import main

sys.exit(main())

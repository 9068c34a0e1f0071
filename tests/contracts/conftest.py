"""Puts this folder on the path, so that what tests share can be told apart from tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Puts this folder on the path, so that its tests share their small desk, and the one whose desk is the real one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "desk"))

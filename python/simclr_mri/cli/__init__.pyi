from ._main import main as main
from ._parser import build_parser as build_parser
from ._settings import Settings as Settings
from ._table import COMMANDS as COMMANDS
from ._versions import show_versions as show_versions

__all__ = ["COMMANDS", "Settings", "build_parser", "main"]

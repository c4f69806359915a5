from ._data_sections import DataOptions as DataOptions
from ._data_sections import ReadingOptions as ReadingOptions
from ._documents import documents_options as documents_options
from ._mappings import check_mapping as check_mapping
from ._mappings import takes_mapping as takes_mapping
from ._options import COMMAND_LINE as COMMAND_LINE
from ._options import RECIPES as RECIPES
from ._options import check_names as check_names
from ._options import checked as checked
from ._options import hints as hints
from ._options import merged as merged
from ._options import new_name as new_name
from ._options import option_fields as option_fields
from ._options import optional_type as optional_type
from ._options import read_toml as read_toml
from ._options import recipe_values as recipe_values
from ._options import takes_recipe as takes_recipe
from ._options import with_new_names as with_new_names
from ._sections import DEMO_CHOICES as DEMO_CHOICES
from ._sections import SECTIONS as SECTIONS
from ._sections import AuditOptions as AuditOptions
from ._sections import BenchOptions as BenchOptions
from ._sections import DemoOptions as DemoOptions
from ._sections import EvaluateOptions as EvaluateOptions
from ._sections import ExplainOptions as ExplainOptions
from ._sections import LabelCurveOptions as LabelCurveOptions
from ._sections import RunOptions as RunOptions
from ._sections import SlicesOptions as SlicesOptions
from ._sections import StudyOptions as StudyOptions
from ._sections import as_dict as as_dict
from ._training_sections import FinetuneOptions as FinetuneOptions
from ._training_sections import PretrainOptions as PretrainOptions

__all__ = [
    "SECTIONS",
    "AuditOptions",
    "BenchOptions",
    "DataOptions",
    "DemoOptions",
    "EvaluateOptions",
    "ExplainOptions",
    "FinetuneOptions",
    "PretrainOptions",
    "RunOptions",
    "SlicesOptions",
    "StudyOptions",
    "as_dict",
]

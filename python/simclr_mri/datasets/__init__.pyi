from ._alzheimer import AlzheimerMRI as AlzheimerMRI
from ._arrays import encode_labels as encode_labels
from ._cache import put_on_disk as put_on_disk
from ._cached_store import CacheError as CacheError
from ._class_names import merge_text as merge_text
from ._classes import SEVERITY as SEVERITY
from ._classes import TASKS as TASKS
from ._classes import ClassCounts as ClassCounts
from ._concatenate import concatenate as concatenate
from ._dataset import Dataset as Dataset
from ._examples import spread_examples as spread_examples
from ._file_properties import file_properties as file_properties
from ._folder import check_root as check_root
from ._head import BACKGROUND_LEVEL as BACKGROUND_LEVEL
from ._head import dark_share as dark_share
from ._head import find_head as find_head
from ._image_folder import ImageFolder as ImageFolder
from ._images import SeveralSizes as SeveralSizes
from ._images import read_images as read_images
from ._match import match_classes as match_classes
from ._match import n_unmatched as n_unmatched
from ._names import likely_subjects as likely_subjects
from ._open import open_dataset as open_dataset
from ._overlay import CutVolume as CutVolume
from ._phantoms._generate import load_phantoms as load_phantoms
from ._phantoms._generate import phantoms as phantoms
from ._phantoms._generate import write_phantoms as write_phantoms
from ._require import as_images as as_images
from ._require import check_dataset as check_dataset
from ._require import labels_of as labels_of
from ._require import require_labels as require_labels
from ._require import subjects_of as subjects_of
from ._stream import PictureStream as PictureStream
from ._stream import stream_pictures as stream_pictures
from ._subjects import Groups as Groups
from ._volumes import Volumes as Volumes
from ._volumes import VolumeStream as VolumeStream
from ._walk import counted_by_reason as counted_by_reason
from ._warnings import DataWarning as DataWarning
from ._warnings import FilesLeftOut as FilesLeftOut
from ._words import part_of as part_of
from ._write_slices import write_slices as write_slices

__all__ = [
    "SEVERITY",
    "TASKS",
    "AlzheimerMRI",
    "CacheError",
    "ClassCounts",
    "DataWarning",
    "Dataset",
    "ImageFolder",
    "Volumes",
    "concatenate",
    "load_phantoms",
    "open_dataset",
    "phantoms",
    "read_images",
    "stream_pictures",
    "write_phantoms",
    "write_slices",
]

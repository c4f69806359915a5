"""Turns a built wheel into one that can be published: python repair.py WHEEL FOLDER.

auditwheel puts the shared libraries that the extension needs inside and checks the tag. Then the licence texts of all
that is bundled are added, and the size is checked. The texts are looked for in SMRI_LICENSES (a folder) and among the
system's packages.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT_MB = 25
PLATFORM = "manylinux_2_28"
# Each bundled library and the places where distributions keep its licence.
LICENSES = {
    "libpng": ("libpng.LICENSE.txt", "/usr/share/licenses/libpng/LICENSE", "/usr/share/doc/libpng-dev/copyright"),
    "zlib": ("zlib.LICENSE.txt", "/usr/share/licenses/zlib/README", "/usr/share/doc/zlib1g-dev/copyright"),
    "libjpeg-turbo": (
        "libjpeg-turbo.LICENSE.txt",
        "/usr/share/licenses/libjpeg-turbo/LICENSE.md",
        "/usr/share/doc/libjpeg-turbo/LICENSE.md",
        "/usr/share/doc/libjpeg62-turbo-dev/copyright",
    ),
}


def find_license(library: str) -> str:
    own = Path(os.environ.get("SMRI_LICENSES", "/nonexistent"))
    for place in LICENSES[library]:
        path = own / place  # an absolute place stays as it is
        if path.is_file():
            return path.read_text()
    sys.exit(f"licence of {library} not found: looked in {', '.join(LICENSES[library])} and SMRI_LICENSES={own}")


def add_licenses(wheel: Path) -> None:
    """Adds dist-info/licenses/<library>.txt and lists them in RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info: archive.read(info) for info in archive.infolist()}
    record = next(info for info in files if info.filename.endswith(".dist-info/RECORD"))
    folder = record.filename.removesuffix("RECORD") + "licenses/"
    rows = files.pop(record).decode().splitlines()
    texts = {folder + f"{library}.txt": find_license(library).encode() for library in LICENSES}
    for name, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        rows.insert(-1, f"{name},sha256={digest},{len(text)}")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in files.items():
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.writestr(record.filename, "\n".join(rows) + "\n")


def main(wheel: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "auditwheel",
            "repair",
            "--only-plat",
            "--plat",
            f"{PLATFORM}_{os.uname().machine}",
        ]
        subprocess.run([*command, "-w", folder, str(wheel)], check=True)
        (repaired,) = Path(folder).glob("*.whl")
        add_licenses(repaired)
        size_mb = repaired.stat().st_size / 1e6
        if size_mb > LIMIT_MB:
            sys.exit(f"{repaired.name}: {size_mb:.1f} MB, at most {LIMIT_MB} allowed")
        target = out / repaired.name
        target.write_bytes(repaired.read_bytes())
    print(f"{target}: {size_mb:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))

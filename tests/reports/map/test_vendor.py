"""The JavaScript library is the one that is named, with its licence."""

import hashlib

from reports.map import vendor


def test_files_are_those_that_build_sh_made():
    for path in (vendor.FILE, vendor.LICENCES):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == vendor.SHA256[path.name], path.name


def test_version_and_licences_are_named():
    licences = vendor.LICENCES.read_text(encoding="utf-8")
    assert licences.startswith(f"{vendor.NAME} {vendor.VERSION} ({vendor.LICENCE})")
    for name in ("regl 2.1.1 (MIT)", "pub-sub-es 3.0.0 (MIT)", "earcut 3.2.4 (ISC)"):
        assert name in licences
    build = vendor.FILE.with_name("build.sh").read_text(encoding="utf-8")
    assert f"{vendor.NAME}@{vendor.VERSION}" in build
    script = vendor.library()
    assert vendor.VERSION in script.splitlines()[0]
    assert "http" not in script
    assert "</script" not in script.lower()

from __future__ import annotations

from pathlib import Path

import filetype  # type: ignore[import-untyped]
import pytest

from server.uploads.images import measure
from server.uploads.policies import DEFAULT, MIB, POLICIES, FileType, Kind, Policy
from server.uploads.zips import _MAIN_PARTS
from tests.uploads import making

TYPES = sorted({each for policy in POLICIES.values() for each in policy.types}, key=str)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_no_name_of_a_policy_means_two_types(policy: Policy) -> None:
    names = [name for each in policy.types for name in (each.name, *each.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_policy_says_how_much_and_how_long(policy: Policy) -> None:
    assert policy.max_bytes > 0
    assert policy.expires is None or policy.expires.total_seconds() > 0


@pytest.mark.parametrize("found", TYPES, ids=lambda found: found.name)
def test_names_are_lower_case_and_no_extension_means_two_types(found: FileType) -> None:
    texts = (found.name, *found.aliases, *found.extensions)
    assert all(text == text.lower() for text in texts)
    assert found.extensions
    others = {extension for each in TYPES if each != found for extension in each.extensions}
    assert not others.intersection(found.extensions)


@pytest.mark.parametrize("found", TYPES, ids=lambda found: found.name)
def test_every_type_that_is_told_by_its_start_is_known_to_filetype(found: FileType) -> None:
    if found.kind in (Kind.IMAGE, Kind.BINARY):
        known = {each.mime for each in filetype.types}
        assert known.intersection((found.name, *found.aliases))


@pytest.mark.parametrize(
    "found", [each for each in TYPES if each.kind is Kind.IMAGE], ids=lambda found: found.name
)
def test_every_image_type_can_be_measured(found: FileType, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(making.encoded(making.picture(), found.name.removeprefix("image/")))
    assert measure(path, found) == (40, 24)


def test_every_zipped_type_has_a_main_part_or_is_the_zip_itself() -> None:
    zipped = {each.name for each in TYPES if each.kind is Kind.ZIPPED}
    assert zipped == {*_MAIN_PARTS, "application/zip"}


def test_without_a_name_images_of_five_megabytes_are_taken() -> None:
    policy = POLICIES[DEFAULT]
    assert [each.name for each in policy.types] == ["image/jpeg", "image/png", "image/webp"]
    assert (policy.max_bytes, policy.visibility) == (5 * MIB, "public")


def test_a_type_is_found_by_its_name_and_by_what_clients_call_it() -> None:
    policy = POLICIES["images"]
    assert policy.find("image/jpg") is policy.find("image/jpeg") is not None
    assert policy.find("application/pdf") is None

"""Error classes: the names and exit codes are a promise."""

from __future__ import annotations

import errno
import json

import pytest

from jvs import errors

PROMISED = {
    "E_USAGE": 2,
    "E_IO": 4,
    "E_NO_SPACE": 4,
    "E_NOT_FOUND": 5,
    "E_NOT_A_REPOSITORY": 5,
    "E_AMBIGUOUS": 5,
    "E_BUSY": 6,
    "E_EXISTS": 7,
    "E_DETACHED": 7,
    "E_DIRTY": 7,
    "E_STALE_HEAD": 7,
    "E_NAME_INVALID": 10,
    "E_PATH_ESCAPE": 11,
    "E_CONFLICT": 7,
    "E_FORMAT_UNSUPPORTED": 12,
    "E_DESCRIPTOR_CORRUPT": 20,
    "E_PAYLOAD_HASH_MISMATCH": 21,
    "E_LINEAGE_BROKEN": 22,
    "E_PARTIAL_SNAPSHOT": 23,
    "E_AUDIT_CHAIN_BROKEN": 24,
    "E_CLONE_INCOMPLETE": 25,
    "E_GC_PLAN_MISMATCH": 30,
    "E_INTERNAL": 70,
}


def test_names_and_exit_codes_never_change():
    assert {error.name: error.exit for error in errors.ALL} == PROMISED


def test_every_class_is_listed_once():
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.JvsError) and value is not errors.JvsError
    }
    assert set(errors.ALL) == defined
    assert len(errors.ALL) == len(defined)


@pytest.mark.parametrize("error", errors.ALL)
def test_every_class_says_what_it_means(error):
    assert error.__doc__
    assert error.__doc__.strip().endswith(".")


@pytest.mark.parametrize("error", errors.ALL)
def test_the_json_form_holds_class_exit_message_hint_and_facts(error):
    made = error("it broke", hint="mend it", path="a")
    assert json.loads(json.dumps(made.as_json())) == {
        "error": {
            "class": error.name,
            "exit": error.exit,
            "message": "it broke",
            "hint": "mend it",
            "facts": {"path": "a"},
        }
    }
    assert str(made) == "it broke"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_full_quota_are_no_space(number):
    error = errors.from_oserror(OSError(number, "full", "/x"), "writing 'x'")
    assert type(error) is errors.NoSpace
    assert "gc plan" in error.hint


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EPERM, errno.ENOENT])
def test_every_other_refusal_is_io_with_a_hint(number):
    error = errors.from_oserror(OSError(number, "no", "/dir/x"), "reading 'it'")
    assert type(error) is errors.IOFailure
    assert error.hint
    assert error.message == "reading 'it': no '/dir/x'"
    assert error.facts == {"errno": number, "path": "/dir/x"}


def test_paths_in_errors_can_be_printed_whatever_their_bytes():
    for name in (b"/a\xff", "/a\udcff"):
        error = errors.from_oserror(OSError(errno.EIO, "no", name), "reading")
        assert error.facts["path"] == "/a\\xff"
        json.dumps(error.as_json()).encode("utf-8")


def test_an_error_that_knows_no_path_or_reason_is_still_a_sentence():
    error = errors.from_oserror(OSError("odd"), "waiting")
    assert error.message == "waiting: odd"
    assert errors.from_oserror(OSError(5, "no", 7), "reading").facts["path"] is None

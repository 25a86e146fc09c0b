import contextlib
import struct

import pydicom
import pytest
from factories import (
    dataset_bytes,
    make_file_meta,
    make_instance,
    part10_bytes,
    read_meta,
    real_file,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from medr1_pacs.errors import InstanceUnreadable
from medr1_pacs.part10 import (
    encode_file_meta,
    is_uid,
)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "instance.dcm"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.840.10008.1.1", True),
        ("1." + "2" * 62, True),
        ("1." + "2" * 63, False),  # 65 characters
        ("1.02.3", True),  # leading zeros are forbidden and sent
        ("", False),
        (".1", False),
        ("1.2.x", False),
        ("../../etc/passwd", False),
        ("1.2\n", False),
        ("1.2\x00", False),
        ("١.٢", False),  # digits, not those of the standard
    ],
)
def test_a_uid_is_digits_and_dots_up_to_64(text, expected):
    assert is_uid(text) is expected


def test_file_meta_comes_back_as_it_was_written(write):
    meta = make_file_meta(calling_ae_title="SCANNER 1", called_ae_title="LUNG")

    path = write(encode_file_meta(meta) + b"the data set")
    read, offset = read_meta(path)

    assert read == meta
    assert path.read_bytes()[offset:] == b"the data set"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_data_set_follows_in_its_own_syntax(write, syntax):
    ds = make_instance(transfer_syntax_uid=syntax)

    path = write(encode_file_meta(make_file_meta(ds)) + dataset_bytes(ds))

    assert pydicom.dcmread(path) == ds


def test_a_file_of_another_program_is_read(write):
    ds = make_instance()
    content = part10_bytes(ds)

    meta, offset = read_meta(write(content))

    assert meta.sop_instance_uid == ds.SOPInstanceUID
    assert meta.calling_ae_title == ""
    assert content[offset:] == dataset_bytes(ds)


def test_an_ae_title_of_another_program_is_cut_to_what_one_may_be(write):
    ds = make_instance()
    ds.file_meta.SourceApplicationEntityTitle = "a host\x00 name that is too long"

    meta, _ = read_meta(write(part10_bytes(ds)))

    assert meta.calling_ae_title == "a host name that"


def test_real_files_say_their_transfer_syntax():
    meta, _ = read_meta(real_file("JPEG2000.dcm"))

    assert meta.transfer_syntax_uid == "1.2.840.10008.1.2.4.91"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\x00" * 128 + b"DICM",
        b"\x00" * 132,
        b"\x00" * 128 + b"DICM" + b"\x02\x00",
        b"\x00" * 128 + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff1.2",
        b"\x00" * 128 + b"DICM" + b"\xff" * 40,
    ],
)
def test_what_is_no_dicom_file_is_unreadable(write, content):
    with pytest.raises(InstanceUnreadable):
        read_meta(write(content))


def test_meta_that_some_programs_write_as_implicit_vr_is_read(write):
    uid = b"1.2.840.10008.1.2\x00"
    elements = [(0x02, uid), (0x03, uid), (0x10, uid)]
    meta = b"".join(struct.pack("<HHI", 2, n, len(value)) + value for n, value in elements)

    read, offset = read_meta(write(b"\x00" * 128 + b"DICM" + meta + b"\x08\x00rest"))

    assert read.transfer_syntax_uid == "1.2.840.10008.1.2"
    assert offset == 132 + len(meta)


def test_a_long_private_value_in_the_meta_is_skipped(write):
    content = encode_file_meta(make_file_meta())
    private = struct.pack("<HH2sHI", 2, 0x0102, b"OB", 0, 2 << 20) + bytes(2 << 20)

    read, offset = read_meta(write(content + private + b"\x08\x00rest"))

    assert read == make_file_meta(sop_instance_uid=read.sop_instance_uid)
    assert offset == len(content) + len(private)


def test_an_ae_title_in_latin_letters_is_read_and_written_again(write):
    content = encode_file_meta(make_file_meta(calling_ae_title="MUNCHEN"))

    read, _ = read_meta(write(content.replace(b"MUNCHEN", "MÜNCHEN".encode("latin-1"))))

    assert read.calling_ae_title == "MÜNCHEN"
    assert read_meta(write(encode_file_meta(read)))[0] == read


def test_a_length_beyond_the_end_of_the_file_is_not_allocated(write):
    head = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 0xFFFFFFF0)

    with pytest.raises(InstanceUnreadable, match="damaged"):
        read_meta(write(b"\x00" * 128 + b"DICM" + head + b"short"))


@pytest.mark.parametrize("name", ["sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"])
def test_file_meta_without_a_uid_is_unreadable(write, name):
    content = encode_file_meta(make_file_meta(**{name: "1.2.3"}))
    path = write(content.replace(b"1.2.3\x00", b"../../"))

    with pytest.raises(InstanceUnreadable, match=name):
        read_meta(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_hostile_meta_is_unreadable_or_read_and_never_another_error(write, content):
    path = write(b"\x00" * 128 + b"DICM" + content)

    with contextlib.suppress(InstanceUnreadable):
        read_meta(path)


def test_truncated_file_meta_is_unreadable_or_read_and_never_another_error(write):
    content = encode_file_meta(make_file_meta())

    for length in range(132, len(content)):
        with contextlib.suppress(InstanceUnreadable):
            read_meta(write(content[:length]))

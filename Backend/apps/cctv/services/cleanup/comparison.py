"""Whether an object and a local file are the ones that were uploaded: the two comparisons that P1 asks for."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q

from apps.cctv.models import DeletionReceipt, GCPVideoTransfer, Recording
from apps.cctv.services.retention import FileStays
from apps.cctv.services.settings import ServiceSettings
from offload.digest import crc32c_of, to_base64
from offload.errors import FileChanged, FileProblem, Reason
from offload.file_time import FileTime
from offload.source import Source, SourceIdentity, check_settled
from offload.store import META_INSTALLATION, ObjectInfo

_ANOTHER_FILE = frozenset(
    {
        Reason.LOCAL_CHANGED,
        Reason.FILE_CHANGED,
        Reason.FILE_EMPTY,
        Reason.FILE_IS_LINK,
        Reason.FILE_NOT_REGULAR,
        Reason.FILE_OUTSIDE_MEDIA_ROOT,
        Reason.NAME_NOT_UTF8,
    }
)
"""What the engine says of a path at which the recording does not lie any more."""

Compared = DeletionReceipt.Compared


def owner_check(row: GCPVideoTransfer, settings: ServiceSettings, installation: str) -> None:
    """Whether this installation may judge the row's object at all. Raises FileStays."""
    if row.installation_id != installation:
        raise FileStays(Reason.OTHER_INSTALLATION, "the transfer was made by another installation")
    if row.gcp_bucket and row.gcp_bucket not in settings.trusted_buckets:
        raise FileStays(
            Reason.BUCKET_SETTING_CHANGED,
            f"the object is in {row.gcp_bucket}, which the settings do not name any more",
        )


def object_check(row: GCPVideoTransfer, info: ObjectInfo | None, installation: str) -> ObjectInfo:
    """Whether the object is the one that was uploaded, ours, and without a hold (P1, P5). Raises FileStays."""
    if info is None:
        raise FileStays(Reason.OBJECT_MISSING, f"there is no object {row.gcp_storage_path} in {row.gcp_bucket}")
    shown = (info.generation, info.size_bytes, to_base64(info.crc32c))
    if shown != (row.object_generation, row.file_size_bytes, row.object_crc32c):
        raise FileStays(
            Reason.OBJECT_DIFFERS,
            f"uploaded: generation {row.object_generation}, {row.file_size_bytes} bytes, CRC32C {row.object_crc32c}; "
            f"in the bucket: generation {shown[0]}, {shown[1]} bytes, CRC32C {shown[2]}",
        )
    if info.metadata.get(META_INSTALLATION) != installation:
        raise FileStays(Reason.OTHER_INSTALLATION, "the object was written by another installation")
    if info.held:
        if row.recording.hold_confirmed and not info.event_based_hold:
            raise FileStays(Reason.HOLD_NOT_RELEASED, "the bucket has not yet released the hold")
        kind = "an event-based" if info.event_based_hold else "a temporary"
        raise FileStays(Reason.HOLD_UNKNOWN, f"the object has {kind} hold that was not set here")
    return info


def file_check(
    row: GCPVideoTransfer,
    source: Source,
    *,
    recorded: str,
    file_time: Callable[[], FileTime],
    while_reading: Callable[[], None],
) -> Compared:
    """Whether the file is the one that was uploaded, and what told so. Raises FileStays, FileProblem.

    Where the file's identity is the `recorded` one, and that can be trusted alone, it decides; else a fresh CRC32C of
    the whole file. `file_time` asks the file system's clock; `while_reading` is called for every piece of a checksum.
    """
    if source.identity.size_bytes != row.file_size_bytes:
        sizes = f"uploaded: {row.file_size_bytes} bytes, now: {source.identity.size_bytes}"
        raise FileStays(Reason.LOCAL_CHANGED, sizes)
    if _is_proof(recorded, source.identity):
        return Compared.IDENTITY
    time = file_time()
    if source.identity.step_ns(time):  # a change while the sum is made would not show
        check_settled(source.identity, time=time, settle_seconds=0)
    try:
        found = to_base64(crc32c_of(source, row.file_size_bytes, abort=while_reading))
        unchanged = source.identity_now() == source.identity
    except FileProblem as problem:
        raise file_refusal(problem) from problem
    if found != row.object_crc32c or not unchanged:
        raise FileStays(Reason.LOCAL_CHANGED, f"uploaded: CRC32C {row.object_crc32c}, now: {found}")
    if _is_another_recordings(row, source.identity):
        raise FileStays(Reason.LOCAL_CHANGED, "the file is another recording's now, though with the same bytes")
    return Compared.CRC32C


def file_refusal(problem: FileProblem) -> FileStays | FileProblem:
    """What to raise instead: a file that is another one now stays; a disk that fails is tried again."""
    if isinstance(problem, FileChanged) or problem.code in _ANOTHER_FILE:
        return FileStays(Reason.LOCAL_CHANGED, problem.detail)
    return problem


def _is_proof(recorded: str, found: SourceIdentity) -> bool:
    """Whether the identity alone tells that this is the uploaded file; one that was taken too early does not."""
    try:
        expected = SourceIdentity.decode(recorded)
    except ValueError:
        return False
    return expected.trusted and found == expected


def _is_another_recordings(row: GCPVideoTransfer, identity: SourceIdentity) -> bool:
    """Whether another recording was registered with this very file, or still needs whatever lies at its path."""
    others = Recording.objects.filter(local_path=row.original_local_path).exclude(pk=row.recording_id)
    needs_it = Q(file_mtime_ns=identity.mtime_ns) | Q(hold_wanted=True) | Q(storage_type=Recording.StorageType.LOCAL)
    return others.filter(needs_it).exists()

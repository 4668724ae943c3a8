"""Upload one recording, or find it in the bucket, and compare: steps 2 to 6 of docs/design/upload.md.

Whatever ends a call (an error, a kill, a lost lease), the next one continues from the session in the journal and
from what the bucket says it has; nothing else is remembered.
"""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath

from offload.clock import Clock
from offload.digest import to_base64
from offload.errors import (
    ChecksumRefused,
    Disposition,
    FileChanged,
    FileProblem,
    LeaseLost,
    ObjectProblem,
    OffloadError,
    PreconditionFailed,
    Reason,
    SessionGone,
    StopAndTell,
    Stopped,
    TryAgain,
)
from offload.journal import Journal, Orphan, WhyOrphaned
from offload.log import SILENT, EventLog
from offload.pace import UNLIMITED, Pace
from offload.places import Places
from offload.playable import check_playable
from offload.sender import Connection, Sender
from offload.source import MediaRoot, Source, SourceIdentity, check_settled
from offload.store import (
    META_CAMERA,
    META_INSTALLATION,
    META_RECORDING,
    META_SIZE,
    Abort,
    ObjectInfo,
    ObjectSpec,
    UploadStore,
    never_abort,
)
from offload.upload_job import UploadJob, UploadResult, UploadSettings, is_ours, is_whole

__all__ = ["UploadJob", "UploadResult", "UploadSettings", "upload"]

MOST_SESSIONS = 3
"""How often one call begins again after a refused checksum, and after a lost session."""
MOST_ROUNDS = 8
"""How often one call begins again altogether: more than the above, each twice, and a conflict that was passed."""
MOST_NAME_VERSIONS = 100
"""How many names of one recording are looked for where its file is gone."""


def upload(
    job: UploadJob,
    *,
    root: MediaRoot,
    store: UploadStore,
    journal: Journal,
    clock: Clock,
    settings: UploadSettings,
    abort: Abort = never_abort,
    random: Callable[[], float] = random_numbers.random,
    log: EventLog = SILENT,
    pace: Pace = UNLIMITED,
) -> UploadResult:
    """Bring one recording into the bucket, no faster than `pace`. The caller records the result.

    The steps have the numbers of docs/design/upload.md; the claim before them and the record after them are the
    caller's.

    2. Open the file without following links; refuse what is not settled, playable and as registered. Where it is
       gone, look for its object in the bucket.
    3. Session: continue the one in `job`, or start one and have it committed by the journal, before any byte.
    4. Send from the committed offset, and follow the bucket to wherever it says that it got.
    5. Finish with a last part that carries the CRC32C of the whole object.
    6. Compare the bucket's answer with our own size and CRC32C, and the file with what it was when it was opened.

    Steps 3 to 6 are repeated where a session is lost, a checksum refused or the name is in use.

    Raises an OffloadError, whose disposition says what is to become of the transfer; no OSError. A
    LeaseLost of the journal ends the call at once and nothing is written after it.
    """
    log = log.bind(
        transfer=job.transfer_id, recording=job.metadata.get(META_RECORDING), camera=job.metadata.get(META_CAMERA)
    )
    connection = Connection(clock, settings, abort, random, pace)
    try:
        try:
            source = root.open(job.relative_path)
        except FileProblem as problem:
            return _found_in_bucket(job, problem, root=root, store=store, connection=connection, log=log)
        with source:
            sender = Sender(source, job.session, store=store, journal=journal, connection=connection, log=log)
            return _Upload(
                job, source, sender, root=root, store=store, journal=journal, connection=connection, log=log
            ).run()
    except OffloadError as error:
        event = "upload.stopped" if isinstance(error, Stopped | LeaseLost) else "upload.failed"
        log.warning(event, reason=error.code.value, next=error.disposition.value, detail=error.detail)
        raise


def _found_in_bucket(
    job: UploadJob, problem: FileProblem, *, root: MediaRoot, store: UploadStore, connection: Connection, log: EventLog
) -> UploadResult:
    """The result of an upload whose record was lost: a database restored from yesterday, and the file cleaned up since.

    Raises `problem` where no object is ours, whole and of this recording.
    """
    _demand_mounted(root, job.relative_path, problem)
    if problem.code is not Reason.FILE_MISSING:
        raise problem
    name_version, found = _last_object(job, store=store, connection=connection)
    if found is None or not is_whole(found, job):
        raise problem
    log.info("upload.found_in_bucket", object=found.name, generation=found.generation, size_bytes=found.size_bytes)
    return UploadResult(
        info=found,
        identity=None,
        crc32c=found.crc32c,
        adopted=False,
        found_in_bucket=True,
        name_version=name_version,
        bytes_sent=0,
        resumed_from_bytes=0,
    )


def _last_object(job: UploadJob, *, store: UploadStore, connection: Connection) -> tuple[int, ObjectInfo | None]:
    """The object under the last name version that has one, and that version; else an orphan that was found right.

    By listing, not by reading name after name: orphans lie under the earlier names, and a deleted one leaves a gap.
    """
    versions = {
        job.object_name(name_version): name_version
        for name_version in range(job.name_version, job.name_version + MOST_NAME_VERSIONS)
    }
    folders = sorted({name[: name.rfind("/") + 1] for name in versions})
    found = [info for folder in folders for info in connection.ask(partial(_listed, store, job.bucket, folder))]
    named = [(versions[info.name], info) for info in found if info.name in versions]
    orphans = [info for info in found if (info.name, info.generation) in job.whole_orphans]
    if named:
        return max(named, key=lambda one: one[0])
    return job.name_version, max(orphans, key=lambda info: info.generation, default=None)


def _listed(store: UploadStore, bucket: str, prefix: str) -> list[ObjectInfo]:
    return list(store.list_prefix(bucket, prefix))


def _demand_mounted(root: MediaRoot, relative_path: str, problem: FileProblem) -> None:
    """Tell a file that is gone from a disk that is not mounted, where every file is missing and none is gone.

    Raises StopAndTell where the media root is not there, FileProblem (tried again) where another disk below it is not.
    """
    absent = problem.code is Reason.FILE_MISSING and not root.has_marker()
    # The marker lies on the disk itself, so the empty folder of a missing mount has none.
    if absent or problem.code is Reason.MEDIA_ROOT_NOT_MOUNTED:
        raise StopAndTell(
            "the media root is not mounted: its marker is missing", code=Reason.MEDIA_ROOT_NOT_MOUNTED
        ) from problem
    if problem.code is Reason.FILE_MISSING:
        Places(root).demand_there(relative_path)


class _Upload:
    """Steps 2 to 6 for one opened file. `_name_version` is always what the journal has."""

    def __init__(
        self,
        job: UploadJob,
        source: Source,
        sender: Sender,
        *,
        root: MediaRoot,
        store: UploadStore,
        journal: Journal,
        connection: Connection,
        log: EventLog,
    ) -> None:
        self._job = job
        self._source = source
        self._sender = sender
        self._root = root
        self._store = store
        self._journal = journal
        self._connection = connection
        self._log = log
        self._identity = source.identity
        self._name_version = job.name_version
        self._refusals = 0
        self._lost_sessions = 0

    def run(self) -> UploadResult:
        try:
            self._check_file()
            self._log.info("upload.started", size_bytes=self._identity.size_bytes, name_version=self._name_version)
            return self._in_rounds()
        except LeaseLost:
            raise
        except FileChanged:
            # What the session has is of the former content: continued, it would mix two files in one object.
            self._sender.drop_session()
            raise
        except OffloadError:
            self._sender.note_progress()
            raise

    def _check_file(self) -> None:
        job, identity = self._job, self._identity
        check_settled(
            identity,
            time=self._source.time(self._connection.clock),
            settle_seconds=self._connection.settings.settle_seconds,
        )
        # A recorder that uses a name again has put another recording there: it needs a row of its own.
        if job.expected_size_bytes not in {None, identity.size_bytes}:
            raise FileChanged("the file has another size than was registered", disposition=Disposition.FAIL)
        if job.expected_mtime_ns not in {None, identity.mtime_ns}:
            raise FileChanged("the file has another mtime than was registered", disposition=Disposition.FAIL)
        check_playable(self._source, PurePosixPath(job.relative_path).name)

    # --- steps 3 to 6, repeated ---

    def _in_rounds(self) -> UploadResult:
        """Each round ends with an object, or with a reason for another round:

        - 412: something lies under the name. Adopt it, or go to the next name.
        - The bucket computed another CRC32C, or we did of its answer: send again in a new session.
        - The session is gone: look for its object first, then send again.
        """
        for _ in range(MOST_ROUNDS):
            try:
                return self._verified(self._compared(self._sender.put(self._spec())), adopted=False)
            except PreconditionFailed:
                info = self._resolve()
                if info is not None:
                    return self._verified(info, adopted=True)
            except ChecksumRefused as error:
                self._after_refusal(error)
            except SessionGone:
                info = self._after_lost_session()
                if info is not None:
                    return self._verified(info, adopted=True)
        raise TryAgain(f"no object after {MOST_ROUNDS} rounds")

    def _spec(self) -> ObjectSpec:
        job, size_bytes = self._job, self._identity.size_bytes
        return ObjectSpec(
            bucket=job.bucket,
            name=job.object_name(self._name_version),
            size_bytes=size_bytes,
            content_type=job.content_type,
            metadata={**job.metadata, META_SIZE: str(size_bytes)},
            storage_class=job.storage_class,
            temporary_hold=job.temporary_hold,
        )

    def _after_refusal(self, error: ChecksumRefused) -> None:
        """A refused session is never resumed: its bytes are wrong. After three refusals the file or its disk is bad."""
        # A damaged byte in memory or on the line is repaired by sending again; the same refusal again is the file.
        self._refusals += 1
        self._log.warning("upload.checksum_refused", refusals=self._refusals)
        self._sender.drop_session()
        self._sender.demand_unchanged()
        if self._refusals == MOST_SESSIONS:
            raise FileProblem(
                f"the bucket computed another checksum {MOST_SESSIONS} times", code=Reason.CHECKSUM_REFUSED
            ) from error

    def _after_lost_session(self) -> ObjectInfo | None:
        """Look for the object before the file is sent again: the session may be gone because it ended with one."""
        self._lost_sessions += 1
        self._log.warning("upload.session_gone", sessions=self._lost_sessions)
        info = self._resolve()
        if info is None and self._lost_sessions == MOST_SESSIONS:
            raise TryAgain(f"the bucket lost {MOST_SESSIONS} sessions in a row", code=Reason.SESSION_GONE)
        return info

    # --- the object ---

    def _compared(self, info: ObjectInfo) -> ObjectInfo:
        """Compare the bucket's answer with our own size and sum; a wrong object is deleted, by its generation."""
        if (info.size_bytes, info.crc32c) != (self._identity.size_bytes, self._sender.own_crc32c()):
            self._discard(info)
            raise ChecksumRefused("the object is not what was sent")
        return info

    def _resolve(self) -> ObjectInfo | None:
        """What lies under the name decides (a 412, or a lost session); the object where it can be adopted (P2).

        1. Nothing: None, and the next round writes it.
        2. Another installation's: ObjectProblem.
        3. The same size and CRC32C: adopt it, whichever program wrote it.
        4. This transfer's own, with other bytes: an orphan. None, and the next round writes under the next name.
        5. Unknown, and the person who asked again knew of it: None, and the next name likewise.
        6. Unknown: ObjectProblem, a conflict that a person sees.

        Nothing is deleted here: the object may be the only copy of the file's former content.
        """
        # Dropped before the object is read: nothing may still be written through it while we decide.
        self._sender.drop_session()
        job, name = self._job, self._job.object_name(self._name_version)
        info = self._connection.ask(lambda: self._store.get(job.bucket, name))
        if info is None:
            return None
        if info.metadata.get(META_INSTALLATION) not in {None, job.metadata.get(META_INSTALLATION)}:
            raise ObjectProblem(f"{name!r} is another installation's", code=Reason.OTHER_INSTALLATION)
        if (info.size_bytes, info.crc32c) == (self._identity.size_bytes, self._sender.own_crc32c()):
            self._log.info("upload.adopted", object=name, generation=info.generation)
            return info
        if is_ours(info, job):
            self._go_to_next_name(Orphan(info, WhyOrphaned.EARLIER_CONTENT))
        elif job.passes_conflict and self._name_version == job.name_version:  # it was this very name that they saw
            self._log.warning("upload.conflict_passed", object=name, generation=info.generation)
            self._go_to_next_name(None)
        else:
            raise ObjectProblem(f"another object lives under {name!r}", code=Reason.OBJECT_CONFLICT)
        return None

    def _verified(self, info: ObjectInfo, *, adopted: bool) -> UploadResult:
        """The result, once the file was looked at again after the last byte (P8).

        The session stays in the journal until the record: killed in between, the next call asks it and
        gets the object itself for an answer, and no byte is sent again (P3).
        """
        identity = self._identity_at_end(info, adopted=adopted)
        time, slack_seconds = self._source.time(self._connection.clock), self._connection.settings.settle_seconds
        self._log.info(
            "upload.finished",
            object=info.name,
            generation=info.generation,
            size_bytes=info.size_bytes,
            crc32c=to_base64(info.crc32c),
            bytes_sent=self._sender.bytes_sent,
            adopted=adopted,
        )
        return UploadResult(
            info=info,
            identity=None if identity is None else identity.as_taken_at(time, slack_seconds=slack_seconds),
            crc32c=self._sender.own_crc32c(),
            adopted=adopted,
            found_in_bucket=identity is None,
            name_version=self._name_version,
            bytes_sent=self._sender.bytes_sent,
            resumed_from_bytes=self._sender.resumed_from_bytes,
        )

    def _identity_at_end(self, info: ObjectInfo, *, adopted: bool) -> SourceIdentity | None:
        """The file's identity now; None where it is gone and the object holds all of it.

        Raises FileChanged. The object was found right, so it may be the last copy of the recording: nothing deletes
        it. One that was there before this call stays under its name, to be compared with the file again.
        """
        # The opened file first, then its path: a rename in between shows as a difference, not as the same file.
        opened = self._source.identity_open()
        intact = self._is_intact(opened)
        try:
            if self._source.identity_now() == opened and intact:
                return opened
        except FileProblem as problem:
            if problem.code is Reason.FILE_UNREADABLE:  # looked at again later
                raise
            _demand_mounted(self._root, self._job.relative_path, problem)
            if problem.code is Reason.FILE_MISSING and intact and is_whole(info, self._job):
                self._log.warning("upload.file_gone", object=info.name, generation=info.generation)
                return None
        if not adopted:
            self._go_to_next_name(Orphan(info, WhyOrphaned.FILE_CHANGED))
        raise FileChanged("the file changed while it was sent")

    def _is_intact(self, opened: SourceIdentity) -> bool:
        """Whether the opened file, now `opened`, still holds what was sent.

        Where only the ctime differs (a hard link, a chmod, its path gone), a fresh sum decides.
        """
        if opened == self._identity:
            return True
        try:
            return opened.same_content_as(self._identity) and self._sender.fresh_crc32c() == self._sender.own_crc32c()
        except FileChanged:  # shorter than it was
            return False

    def _discard(self, info: ObjectInfo) -> None:
        """Delete an object that this call wrote and whose bytes are not those that were sent, by its generation.

        Where that is not granted, or the file is not as it was sent, the object stays as an orphan.
        """
        if not is_ours(info, self._job):
            return
        orphan = Orphan(info, WhyOrphaned.WRONG_BYTES)
        if not self._source.identity_open().same_content_as(self._identity):
            self._go_to_next_name(orphan)
            return
        # The fence (P6): where another worker has the lease by now, it may have recorded this very object.
        self._sender.forget_session()
        try:
            self._connection.ask(lambda: self._store.delete(info.bucket, info.name, generation=info.generation))
        except (ObjectProblem, StopAndTell, TryAgain) as error:
            if error.code is not Reason.OBJECT_MISSING:
                self._go_to_next_name(orphan)
        else:
            self._log.warning("upload.discarded", object=info.name, generation=info.generation)

    def _go_to_next_name(self, orphan: Orphan | None) -> None:
        """Leave `orphan` where it is, recorded in the commit that makes the next name this transfer's."""
        self._sender.forget_session()
        if orphan is not None:
            found = orphan.info
            self._log.warning("upload.orphaned", object=found.name, generation=found.generation, why=orphan.why.value)
        self._name_version += 1
        self._journal.name_changed(self._name_version, self._job.object_name(self._name_version), orphan)

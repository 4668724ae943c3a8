"""The tables of the application: a page of contents over `apps.cctv.tables`.

Times are UTC. Sizes are bytes. Foreign keys to sites, cameras, recordings and transfers are PROTECT: deleting one of
these deletes no other row by a cascade (P4).
"""

from apps.cctv.tables.alarms import Alarm
from apps.cctv.tables.orphans import OrphanedObject
from apps.cctv.tables.places import Camera, CameraGrant, PlaceEvent, SeenMediaRoot, Site, SiteLine
from apps.cctv.tables.receipts import DeletionReceipt
from apps.cctv.tables.recordings import Recording
from apps.cctv.tables.transfers import GCPVideoTransfer, TransferBatch, TransferEvent
from apps.cctv.tables.work import PeriodicJob, RightInDoubt, WorkerProcess

__all__ = [
    "Alarm",
    "Camera",
    "CameraGrant",
    "DeletionReceipt",
    "GCPVideoTransfer",
    "OrphanedObject",
    "PeriodicJob",
    "PlaceEvent",
    "Recording",
    "RightInDoubt",
    "SeenMediaRoot",
    "Site",
    "SiteLine",
    "TransferBatch",
    "TransferEvent",
    "WorkerProcess",
]

"""A batch belongs to one site, and to the request that made it.

1. Add the columns, empty.
2. Every batch is its own request. It belongs to the site of its transfers; where it has none left, to the oldest site.
3. A batch with transfers of several sites keeps those of one. Those of each other site move to a batch of its own.
4. Demand the columns. SQLite remakes the table of batches for that, which is a small one.
"""

from __future__ import annotations

import uuid
from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery


def fill(apps: Any, schema_editor: Any) -> None:
    batches, transfers = apps.get_model("cctv", "TransferBatch"), apps.get_model("cctv", "GCPVideoTransfer")
    sites = apps.get_model("cctv", "Site").objects.order_by("created_at", "pk")
    of_batch = transfers.objects.filter(batch=OuterRef("pk")).order_by("site_id").values("site_id")
    batches.objects.update(request_id=F("id"), site_id=Subquery(of_batch[:1]))
    # These have nothing to claim: each of their transfers was asked for again, in another batch.
    empty = batches.objects.filter(site__isnull=True)
    oldest = sites.first()
    if oldest is None:
        empty.delete()
    else:
        empty.update(site=oldest)
    # A handful of rows, in one read: the pairs of batch and site of which the batch has only one.
    strays = transfers.objects.exclude(site=F("batch__site")).order_by().values_list("batch_id", "site_id").distinct()
    for batch_id, site_id in list(strays):
        batch = batches.objects.get(pk=batch_id)
        batch.pk, batch.site_id = uuid.uuid4(), site_id
        batch.save(force_insert=True)
        transfers.objects.filter(batch=batch_id, site=site_id).update(batch=batch.pk)
    check_foreign_keys(schema_editor)


def join(apps: Any, schema_editor: Any) -> None:
    """Backwards: the transfers of a request go back into one batch, the one that has the request's id."""
    batches, transfers = apps.get_model("cctv", "TransferBatch"), apps.get_model("cctv", "GCPVideoTransfer")
    for pk, request_id in list(batches.objects.exclude(pk=F("request_id")).values_list("pk", "request_id")):
        if batches.objects.filter(pk=request_id).exists():
            transfers.objects.filter(batch=pk).update(batch=request_id)
            batches.objects.filter(pk=pk).delete()
    check_foreign_keys(schema_editor)


def check_foreign_keys(schema_editor: Any) -> None:
    """PostgreSQL changes no table while the foreign keys of its rows wait to be checked."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def site(**options: Any) -> models.ForeignKey:
    protect = django.db.models.deletion.PROTECT
    return models.ForeignKey(db_index=False, on_delete=protect, related_name="+", to="cctv.site", **options)


class Migration(migrations.Migration):
    dependencies = [("cctv", "0028_recording_site")]

    operations = [
        migrations.AddField("transferbatch", "request_id", models.UUIDField(editable=False, null=True)),
        migrations.AddField("transferbatch", "site", site(null=True)),
        migrations.RunPython(fill, join),
        migrations.AlterField("transferbatch", "request_id", models.UUIDField(default=uuid.uuid4, editable=False)),
        migrations.AlterField("transferbatch", "site", site()),
        migrations.AddConstraint(
            "transferbatch",
            models.UniqueConstraint(fields=("request_id", "site"), name="batch_once_a_request_and_site"),
        ),
    ]

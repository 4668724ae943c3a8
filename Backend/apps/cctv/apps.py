from django.apps import AppConfig
from django.db.backends.signals import connection_created

from config.moved_database import refuse_moved_database


class CctvConfig(AppConfig):
    name = "apps.cctv"
    label = "cctv"
    verbose_name = "Footage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        connection_created.connect(refuse_moved_database, dispatch_uid="refuse_moved_database")

from django.apps import AppConfig


class CctvConfig(AppConfig):
    name = "apps.cctv"
    label = "cctv"
    verbose_name = "Footage"
    default_auto_field = "django.db.models.BigAutoField"

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from apps.cctv.api import api
from apps.cctv.http.problems import routes_of

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v0/", routes_of(api)),
]

handler400 = "apps.cctv.http.problems.bad_request"
handler500 = "apps.cctv.http.problems.server_error"

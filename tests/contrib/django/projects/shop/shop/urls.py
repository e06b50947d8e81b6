"""Pages of the sample project."""

from django.contrib import admin
from django.urls import path
from orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/<int:order_id>/total", views.total),
]

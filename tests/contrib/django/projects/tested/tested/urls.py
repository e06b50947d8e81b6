"""Pages of the project."""

from django.urls import path
from orders import views

urlpatterns = [path("orders/<int:order_id>/pay", views.pay)]

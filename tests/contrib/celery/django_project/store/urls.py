"""Addresses of the project's views."""

from django.urls import path
from stock import views

urlpatterns = [path("order/<str:item>", views.order)]

"""The addresses of the chat."""

from django.urls import path
from web import views

urlpatterns = [
    path("", views.index),
    path("enter", views.enter),
    path("leave", views.leave),
    path("messages", views.say),
    path("poll/<slug:tab>", views.poll),
    path("close/<slug:tab>", views.close),
]

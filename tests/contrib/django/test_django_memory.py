"""The sample project's handlers and views, in this process, on the memory transport."""

from django.test import Client

from amphora.contrib.django import client, clients, server, servers


def test_views_call_the_handlers_of_an_app():
    with server:
        page = Client().get("/orders/42/total")

    assert page.json() == {"order": 42, "total": 420}


def test_each_alias_is_a_service_of_its_own():
    with server, servers["billing"]:
        assert client.call.add(1, 2) == 3
        assert clients["billing"].call.invoices.number(7) == "INV-00007"

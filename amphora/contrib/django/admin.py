"""The pages of the Django admin: the services, a service, a call, and the failed calls."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from amphora.contrib.django.admin_calls import DEFAULT_TIMEOUT, LONGEST_TIMEOUT, CallForm, make_call
from amphora.contrib.django.admin_services import cannot_call, functions_of, queues_of
from amphora.contrib.django.conf import ServiceSettings, services
from amphora.contrib.django.models import FailedCall, Service

__all__ = ["FailedCallAdmin", "ServiceAdmin"]

#: Failed calls, and calls from the admin, that the page of a service shows.
_LAST = 10

CALL_PERMISSION = "amphora.call_service"


@admin.register(Service)
class ServiceAdmin(admin.ModelAdmin):
    """The services of ``AMPHORA``: who may view them sees their functions and queues, who may call calls."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No: services are added in the settings."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No: services are changed in the settings."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No: services are deleted in the settings."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Users who may call may look too."""
        return super().has_view_permission(request, obj) or self.has_call_permission(request)

    def has_call_permission(self, request: HttpRequest) -> bool:
        """Whether the user may call functions."""
        return bool(request.user.has_perm(CALL_PERMISSION))

    def get_urls(self) -> list[Any]:
        """Return the pages, by the names that the admin has for a model's."""

        def page(view: Any) -> Any:
            return self.admin_site.admin_view(view)

        return [
            path("", page(self.changelist_view), name="amphora_service_changelist"),
            path("<path:object_id>/change/", page(self.change_view), name="amphora_service_change"),
            path("<path:object_id>/call/", page(self.call_view), name="amphora_service_call"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show all services."""
        self._check_may_view(request)
        found: list[ServiceSettings] = []
        problem = None
        try:
            found = list(services().values())
        except ImproperlyConfigured as error:
            problem = str(error)
        queues = queues_of(found)
        failed = self._failed_calls(request)
        counts = {} if failed is None else dict(_count_by_service(failed))
        rows = [
            {
                "settings": each,
                "url": self._url("change", each),
                "functions": functions_of(each.alias),
                "queues": queues[each.alias],
                "failed": counts.get(each.service_name, 0),
            }
            for each in found
        ]
        context = {
            "title": _("RPC services"),
            "rows": rows,
            "cannot_call": cannot_call(found),
            "problem": problem,
            "shows_failed": failed is not None,
            **(extra_context or {}),
        }
        return self._page(request, "services", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a service: its functions, its queues, its last errors, and who called it from here."""
        self._check_may_view(request)
        service = _service_or_404(object_id)
        failed = self._failed_calls(request)
        context = {
            "title": service.service_name,
            "service": service,
            "cannot_call": cannot_call([service]),
            "call_url": self._url("call", service),
            "functions": functions_of(service.alias),
            "queues": queues_of([service])[service.alias],
            "failed": None if failed is None else failed.filter(service=service.service_name)[:_LAST],
            "calls": self._calls_from_here(service) if self.has_call_permission(request) else None,
            **(extra_context or {}),
        }
        return self._page(request, "service", context)

    # A call may take minutes: no transaction of the request's stays open that long (ATOMIC_REQUESTS).
    @transaction.non_atomic_requests
    def call_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form for a call; make the call that it asks for, and show what came of it."""
        if not self.has_call_permission(request):
            raise PermissionDenied
        service = _service_or_404(object_id)
        functions = functions_of(service.alias)
        names = [function.name for function in functions.known]
        outcome = None
        if request.method == "POST":
            form = CallForm(request.POST, names=names)
            if form.is_valid() and cannot_call([service]) is None:
                outcome = make_call(service.alias, form.cleaned_data)
                self._log(request, service, outcome.function, outcome.summary)
        else:
            given = {"function": request.GET.get("function", ""), "args": "[]", "kwargs": "{}"}
            form = CallForm(initial={**given, "timeout": _usual_timeout(service)}, names=names)
        context = {
            "title": _("Call a function"),
            "subtitle": service.service_name,
            "service": service,
            "cannot_call": cannot_call([service]),
            "service_url": self._url("change", service),
            "functions": functions,
            "form": form,
            "chosen": form["function"].value(),
            "outcome": outcome,
        }
        return self._page(request, "call", context)

    def _check_may_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        full = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "may_call": self.has_call_permission(request),
            **context,
        }
        return TemplateResponse(request, f"admin/amphora/service/{name}.html", full)

    def _url(self, page: str, service: ServiceSettings) -> str:
        name = f"admin:amphora_service_{page}"
        return str(reverse(name, args=[quote(service.alias)], current_app=self.admin_site.name))

    def _failed_calls(self, request: HttpRequest) -> Any:
        """Return the failed calls that the user may see; None if that is none of them."""
        return FailedCall.objects.all() if request.user.has_perm("amphora.view_failedcall") else None

    def _calls_from_here(self, service: ServiceSettings) -> Any:
        content_type = ContentType.objects.get_for_model(Service)
        entries = LogEntry.objects.filter(content_type=content_type, object_id=service.alias)
        return entries.select_related("user").order_by("-action_time")[:_LAST]

    def _log(self, request: HttpRequest, service: ServiceSettings, function: str, message: str) -> None:
        """Note a call in the admin's log, as it notes changes."""
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type=ContentType.objects.get_for_model(Service),
            object_id=service.alias,
            object_repr=f"{service.service_name}: {function}"[:200],
            action_flag=CHANGE,
            change_message=message,
        )


@admin.register(FailedCall)
class FailedCallAdmin(admin.ModelAdmin):
    """The last errors of the services' functions; to look at, and to delete."""

    list_display = ("time", "service", "function", "error_type", "short_message")
    list_filter = ("service", "error_type", "time")
    search_fields = ("function", "error_type", "message", "request_id", "server_host")
    fieldsets = (
        (None, {"fields": ("time", "service", "alias", "function", "error_type", "shown_message")}),
        (gettext_lazy("Where"), {"fields": ("server_host", "server_pid", "server_uuid", "request_id")}),
        (gettext_lazy("Traceback"), {"fields": ("shown_traceback",)}),
    )
    readonly_fields = ("shown_message", "shown_traceback")

    class Media:
        css = {"all": ("amphora/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No: the servers add them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No: they tell what was."""
        return False

    @admin.display(description=gettext_lazy("message"))
    def short_message(self, call: FailedCall) -> str:
        """Return the beginning of the message."""
        return call.message if len(call.message) <= 100 else f"{call.message[:99]}…"

    @admin.display(description=gettext_lazy("message"))
    def shown_message(self, call: FailedCall) -> Any:
        """Return the message with its lines."""
        return format_html('<pre class="amphora-text">{}</pre>', call.message) if call.message else ""

    @admin.display(description=gettext_lazy("traceback"))
    def shown_traceback(self, call: FailedCall) -> Any:
        """Return the traceback with its lines."""
        return format_html('<pre class="amphora-text">{}</pre>', call.traceback)


def _service_or_404(object_id: str) -> ServiceSettings:
    alias = unquote(object_id)
    try:
        return services()[alias]
    except (KeyError, ImproperlyConfigured):
        raise Http404(f"AMPHORA has no alias {alias!r}") from None


def _usual_timeout(service: ServiceSettings) -> float:
    """Return the service's own timeout, where that is not too long for a page."""
    timeout = service.client_options.get("timeout")
    seconds = DEFAULT_TIMEOUT if timeout is None else min(float(timeout), LONGEST_TIMEOUT)
    return int(seconds) if seconds.is_integer() else seconds


def _count_by_service(failed: Any) -> Any:
    return failed.order_by().values_list("service").annotate(Count("id"))

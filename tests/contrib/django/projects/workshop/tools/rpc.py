"""Handlers whose documentation, results and errors must not be taken for HTML."""

from amphora.contrib.django import server


@server.add_function("tools.label")
def label(article, size="<b>large</b>"):
    """Return the label of an article.

    <script>window.injected = "by the docstring"</script>
    """
    return {
        "article": article,
        "label": f"</pre><script>window.injected = 'by the result'</script>{article}",
        "size": size,
    }


@server.add_function("tools.take")
def take(article, count=1):
    """Take articles out of the tools."""
    raise LookupError(f"no {article} <img src=x onerror=\"window.injected = 'by the error'\">, {count} wanted")

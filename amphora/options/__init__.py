"""The options of clients and servers, validated, as frozen values."""

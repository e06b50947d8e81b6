"""What a web view, a script or another service does: it imports the shop's application, and calls.

    python customer.py

The worker may be started later; the calls wait for it.
"""

from shop import app, write_letter

from amphora import AmqpRpcException, RemoteException

shop = app.amphora.client


def main():
    """Ask, order, and be told what is wrong."""
    print("price of 3 apples:", shop.call.price("apple", 3))

    # Several questions at once: each is asked without waiting for the answer to the one before.
    asked = {item: shop.defer.price(item) for item in ("apple", "pear", "plum")}
    print("prices:", {item: result.get() for item, result in asked.items()})

    print("order:", shop.call.order("Alice", "pear", 2))
    print("stars of a plum:", shop.call.stars("plum"))

    try:
        shop.call.price("melon")
    except RemoteException as error:
        print("price of a melon:", error)

    # A task is sent as ever.
    write_letter.delay("Bob", "We have plums again.")


if __name__ == "__main__":
    try:
        main()
    except AmqpRpcException as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None

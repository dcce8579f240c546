"""The tickets a fresh data file starts with: a week at the help desk of a company that sells bicycle lights."""

from datetime import datetime, timedelta
from typing import Any

# (subject, body, status, priority, requester, tags, hours since it was opened)
_TICKETS: list[tuple[str, str, str, str, str, str, int]] = [
    (
        "Cannot sign in after password reset",
        "I reset my password this morning. The new one is accepted, then the page says 'session expired' and I am back "
        "at the sign-in form. Firefox 131, no extensions.",
        "open",
        "high",
        "mira.olsen@northwind.example",
        "login,account",
        3,
    ),
    (
        "Invoice INV-2291 shows the wrong VAT rate",
        "We are in the Netherlands; the invoice has 19 % instead of 21 %. We need a corrected one before the end of "
        "the month.",
        "open",
        "normal",
        "bookkeeping@vandijk.example",
        "billing,vat",
        7,
    ),
    (
        "Export to CSV stops at 10,000 rows",
        "The order export has exactly 10,000 rows, we have 14,312 orders this year. No error is shown.",
        "open",
        "normal",
        "t.berger@radhaus.example",
        "export,orders",
        9,
    ),
    (
        "Firmware update bricked two lights",
        "After updating to firmware 4.2 two of our Beam 300 lights no longer turn on. Holding the button for 20 "
        "seconds does nothing. The other six updated fine.",
        "open",
        "urgent",
        "service@velomarkt.example",
        "firmware,beam-300,hardware",
        11,
    ),
    (
        "Feature request: dark mode in the dealer portal",
        "Our workshop is dark and the portal is very bright. A dark theme would help.",
        "pending",
        "low",
        "jonas@kettenblatt.example",
        "feature-request,portal",
        20,
    ),
    (
        "Webhook deliveries arrive twice",
        "Since yesterday every order.created event reaches us twice, about 30 seconds apart, with the same event id. "
        "Our endpoint answers 200 within 300 ms.",
        "open",
        "high",
        "dev@pedalworks.example",
        "api,webhooks",
        26,
    ),
    (
        "Change of delivery address for order 58813",
        "Please send it to our new shop at Hafenstrasse 12, it has not shipped yet according to the portal.",
        "closed",
        "normal",
        "info@hafenrad.example",
        "orders,shipping",
        28,
    ),
    (
        "API returns 429 although we are below the limit",
        "We send about 40 requests a minute, the documentation says 100. The Retry-After header says 1.",
        "open",
        "high",
        "platform@spokes.example",
        "api,rate-limit",
        31,
    ),
    (
        "Refund for returned lights not received",
        "We returned 4 Beam 150 on the 2nd (RMA 7741). The portal says 'refunded' but nothing has arrived.",
        "pending",
        "high",
        "einkauf@bergrad.example",
        "billing,refund,beam-150",
        33,
    ),
    (
        "Two-factor code is never accepted",
        "I set up the authenticator app twice. Each code is 'invalid'. My phone's clock is right.",
        "open",
        "high",
        "p.lindqvist@cykelhuset.example",
        "login,two-factor",
        36,
    ),
    (
        "Where do I find the CE declaration for Beam 300?",
        "A customer needs it for a tender. I looked under Downloads.",
        "closed",
        "low",
        "verkauf@radhaus.example",
        "documents,beam-300",
        44,
    ),
    (
        "Portal is very slow on Monday mornings",
        "Between 8 and 9 pages take 10 seconds and more. The rest of the week it is fine.",
        "pending",
        "normal",
        "office@spokes.example",
        "portal,performance",
        50,
    ),
    (
        "Battery drains overnight when switched off",
        "Beam 150, bought in March, firmware 4.1. Full in the evening, 40 % in the morning without use.",
        "open",
        "normal",
        "anna.novak@mail.example",
        "battery,beam-150,hardware",
        53,
    ),
    (
        "Remove a former employee's access",
        "Please remove l.martin@pedalworks.example, she left on Friday. She was an administrator of our account.",
        "open",
        "urgent",
        "admin@pedalworks.example",
        "account,security",
        55,
    ),
    (
        "Duplicate charge on our card",
        "Order 58790 was charged twice, 412.50 EUR each, on the same day. Only one order is in the portal.",
        "open",
        "urgent",
        "kontakt@kettenblatt.example",
        "billing,refund",
        58,
    ),
    (
        "Mount does not fit oval handlebars",
        "Is there an adapter for oval handlebars, 35 by 25 mm?",
        "closed",
        "low",
        "tomas@mail.example",
        "hardware,accessories",
        70,
    ),
    (
        "Stock level in the API differs from the portal",
        "GET /v2/stock says 0 for BM300-BLK, the portal shows 128. Orders through the API are refused because of this.",
        "open",
        "high",
        "dev@velomarkt.example",
        "api,stock,beam-300",
        74,
    ),
    (
        "Newsletter unsubscribe link is broken",
        "The link at the bottom of the newsletter leads to a 404 page.",
        "pending",
        "normal",
        "h.jansen@mail.example",
        "email,marketing",
        80,
    ),
    (
        "Need invoices as structured e-invoices",
        "From January our customers in the public sector require XRechnung. Can you send it beside the PDF?",
        "pending",
        "normal",
        "buchhaltung@bergrad.example",
        "billing,feature-request",
        92,
    ),
    (
        "Light flickers in rain",
        "Three customers report flickering in heavy rain with the Beam 300. The seal of the charging port looks fine.",
        "open",
        "high",
        "werkstatt@hafenrad.example",
        "hardware,beam-300,warranty",
        97,
    ),
    (
        "Password reset mail goes to spam",
        "All reset mails to our domain are marked as spam; SPF for your sender fails according to the headers.",
        "open",
        "normal",
        "it@northwind.example",
        "email,login",
        104,
    ),
    (
        "Wrong language in order confirmations",
        "Our account is set to Dutch but the confirmations come in German since last week.",
        "closed",
        "low",
        "bestel@vandijk.example",
        "email,orders",
        118,
    ),
    (
        "Question about the warranty of refurbished lights",
        "Do refurbished Beam 150 have one or two years of warranty?",
        "closed",
        "low",
        "anna.novak@mail.example",
        "warranty,beam-150",
        126,
    ),
    (
        "Parcel 3 of 3 is missing",
        "Order 58601 arrived in two parcels, the third is 'in transit' for nine days. 24 lights are missing.",
        "open",
        "high",
        "service@velomarkt.example",
        "shipping,orders",
        140,
    ),
    (
        "Bulk price list for the 2027 season",
        "When will the dealer price list for 2027 be available? We plan our spring order.",
        "pending",
        "low",
        "einkauf@spokes.example",
        "sales,prices",
        160,
    ),
]

# (ticket, author, body, internal, hours after it was opened)
_COMMENTS: list[tuple[int, str, str, bool, int]] = [
    (1, "lea@helpdesk.example", "Could you try in a private window, and tell us the time of the attempt?", False, 1),
    (1, "lea@helpdesk.example", "Looks like the cookie-domain change of yesterday's release.", True, 1),
    (
        4,
        "sam@helpdesk.example",
        "Please do not update the other lights yet. A replacement is on its way.",
        False,
        2,
    ),
    (4, "sam@helpdesk.example", "Third report of 4.2 on the first hardware revision. Told engineering.", True, 3),
    (6, "lea@helpdesk.example", "We see two workers picking up the same event. A fix is being tested.", False, 5),
    (7, "omar@helpdesk.example", "Done, the order ships tomorrow to Hafenstrasse 12.", False, 2),
    (9, "omar@helpdesk.example", "The bank returned the transfer; asked accounting to check the IBAN.", True, 12),
    (11, "sam@helpdesk.example", "It is under Service, Certificates. I have attached it as well.", False, 3),
    (14, "lea@helpdesk.example", "Needs a confirmation by a second administrator before we remove one.", True, 1),
    (16, "omar@helpdesk.example", "There is: the oval adapter, article AC-041.", False, 6),
    (20, "sam@helpdesk.example", "Could you send us the serial numbers of the three lights?", False, 8),
    (24, "omar@helpdesk.example", "The carrier started a search, we will know more on Thursday.", False, 20),
]


def fresh_data(now: datetime) -> dict[str, Any]:
    """The content of a new data file, with times relative to `now` (aware)."""
    tickets = [_ticket(number, row, now) for number, row in enumerate(_TICKETS, start=1)]
    comments = [_comment(number, row, tickets[row[0] - 1]) for number, row in enumerate(_COMMENTS, start=1)]
    for comment in comments:
        tickets[comment["ticket_id"] - 1]["updated_at"] = comment["created_at"]
    return {"tickets": tickets, "comments": comments}


def _ticket(number: int, row: tuple[str, str, str, str, str, str, int], now: datetime) -> dict[str, Any]:
    subject, body, status, priority, requester, tags, hours = row
    opened = (now - timedelta(hours=hours)).isoformat(timespec="seconds")
    return {
        "id": number,
        "subject": subject,
        "body": body,
        "status": status,
        "priority": priority,
        "requester": requester,
        "tags": tags.split(","),
        "created_at": opened,
        "updated_at": opened,
    }


def _comment(number: int, row: tuple[int, str, str, bool, int], ticket: dict[str, Any]) -> dict[str, Any]:
    ticket_id, author, body, internal, hours = row
    written = datetime.fromisoformat(ticket["created_at"]) + timedelta(hours=hours)
    return {
        "id": number,
        "ticket_id": ticket_id,
        "author": author,
        "body": body,
        "internal": internal,
        "created_at": written.isoformat(timespec="seconds"),
    }

from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Attributes(_message.Message):
    __slots__ = ("payment", "card", "merchant", "payer", "payee", "device", "shipping", "billing", "request", "peer", "auth", "time")
    PAYMENT_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_FIELD_NUMBER: _ClassVar[int]
    PAYER_FIELD_NUMBER: _ClassVar[int]
    PAYEE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SHIPPING_FIELD_NUMBER: _ClassVar[int]
    BILLING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    payment: Payment
    card: Card
    merchant: Merchant
    payer: Payer
    payee: Payee
    device: Device
    shipping: Place
    billing: Place
    request: Request
    peer: Peer
    auth: Auth
    time: Time
    def __init__(self, payment: _Optional[_Union[Payment, _Mapping]] = ..., card: _Optional[_Union[Card, _Mapping]] = ..., merchant: _Optional[_Union[Merchant, _Mapping]] = ..., payer: _Optional[_Union[Payer, _Mapping]] = ..., payee: _Optional[_Union[Payee, _Mapping]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., shipping: _Optional[_Union[Place, _Mapping]] = ..., billing: _Optional[_Union[Place, _Mapping]] = ..., request: _Optional[_Union[Request, _Mapping]] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ..., auth: _Optional[_Union[Auth, _Mapping]] = ..., time: _Optional[_Union[Time, _Mapping]] = ...) -> None: ...

class Amount(_message.Message):
    __slots__ = ("minor_units", "currency")
    MINOR_UNITS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    minor_units: int
    currency: str
    def __init__(self, minor_units: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class Payment(_message.Message):
    __slots__ = ("amount", "reference", "initiator", "method")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    amount: Amount
    reference: str
    initiator: str
    method: str
    def __init__(self, amount: _Optional[_Union[Amount, _Mapping]] = ..., reference: _Optional[str] = ..., initiator: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class Card(_message.Message):
    __slots__ = ("bin", "last4", "country", "funding", "brand")
    BIN_FIELD_NUMBER: _ClassVar[int]
    LAST4_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    bin: str
    last4: str
    country: str
    funding: str
    brand: str
    def __init__(self, bin: _Optional[str] = ..., last4: _Optional[str] = ..., country: _Optional[str] = ..., funding: _Optional[str] = ..., brand: _Optional[str] = ...) -> None: ...

class Merchant(_message.Message):
    __slots__ = ("id", "tier", "mcc", "country", "sub_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    MCC_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    SUB_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    tier: str
    mcc: str
    country: str
    sub_id: str
    def __init__(self, id: _Optional[str] = ..., tier: _Optional[str] = ..., mcc: _Optional[str] = ..., country: _Optional[str] = ..., sub_id: _Optional[str] = ...) -> None: ...

class Payer(_message.Message):
    __slots__ = ("id", "country", "ip")
    ID_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    id: str
    country: str
    ip: str
    def __init__(self, id: _Optional[str] = ..., country: _Optional[str] = ..., ip: _Optional[str] = ...) -> None: ...

class Payee(_message.Message):
    __slots__ = ("account", "country")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    account: str
    country: str
    def __init__(self, account: _Optional[str] = ..., country: _Optional[str] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("country",)
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    country: str
    def __init__(self, country: _Optional[str] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("operation", "method", "host")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    operation: str
    method: str
    host: str
    def __init__(self, operation: _Optional[str] = ..., method: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("ip",)
    IP_FIELD_NUMBER: _ClassVar[int]
    ip: str
    def __init__(self, ip: _Optional[str] = ...) -> None: ...

class Auth(_message.Message):
    __slots__ = ("client_id", "subject", "issuer", "scopes", "age_seconds", "acr", "actor")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ACR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    subject: str
    issuer: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    age_seconds: int
    acr: str
    actor: str
    def __init__(self, client_id: _Optional[str] = ..., subject: _Optional[str] = ..., issuer: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., age_seconds: _Optional[int] = ..., acr: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class Time(_message.Message):
    __slots__ = ("unix_seconds", "hour", "weekday")
    UNIX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    WEEKDAY_FIELD_NUMBER: _ClassVar[int]
    unix_seconds: int
    hour: int
    weekday: int
    def __init__(self, unix_seconds: _Optional[int] = ..., hour: _Optional[int] = ..., weekday: _Optional[int] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionRecord(_message.Message):
    __slots__ = ("time", "service", "decision_id", "request_id", "verdict", "reason", "step", "policy_revision", "operation", "merchant_id", "client_id", "token_issuer", "amount_minor", "currency", "rules", "shadow_rules", "unknown_attributes", "quota", "readings", "duration_us", "http_status", "peer_ip", "detail", "card_key", "acr", "actor")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ISSUER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SHADOW_RULES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    PEER_IP_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CARD_KEY_FIELD_NUMBER: _ClassVar[int]
    ACR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    time: str
    service: str
    decision_id: str
    request_id: str
    verdict: str
    reason: str
    step: str
    policy_revision: str
    operation: str
    merchant_id: str
    client_id: str
    token_issuer: str
    amount_minor: str
    currency: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    shadow_rules: _containers.RepeatedScalarFieldContainer[str]
    unknown_attributes: _containers.RepeatedScalarFieldContainer[str]
    quota: str
    readings: _containers.RepeatedCompositeFieldContainer[QuotaReading]
    duration_us: int
    http_status: int
    peer_ip: str
    detail: str
    card_key: str
    acr: str
    actor: str
    def __init__(self, time: _Optional[str] = ..., service: _Optional[str] = ..., decision_id: _Optional[str] = ..., request_id: _Optional[str] = ..., verdict: _Optional[str] = ..., reason: _Optional[str] = ..., step: _Optional[str] = ..., policy_revision: _Optional[str] = ..., operation: _Optional[str] = ..., merchant_id: _Optional[str] = ..., client_id: _Optional[str] = ..., token_issuer: _Optional[str] = ..., amount_minor: _Optional[str] = ..., currency: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., shadow_rules: _Optional[_Iterable[str]] = ..., unknown_attributes: _Optional[_Iterable[str]] = ..., quota: _Optional[str] = ..., readings: _Optional[_Iterable[_Union[QuotaReading, _Mapping]]] = ..., duration_us: _Optional[int] = ..., http_status: _Optional[int] = ..., peer_ip: _Optional[str] = ..., detail: _Optional[str] = ..., card_key: _Optional[str] = ..., acr: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class QuotaReading(_message.Message):
    __slots__ = ("quota", "limit", "used", "over", "shadow")
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    quota: str
    limit: str
    used: str
    over: bool
    shadow: bool
    def __init__(self, quota: _Optional[str] = ..., limit: _Optional[str] = ..., used: _Optional[str] = ..., over: _Optional[bool] = ..., shadow: _Optional[bool] = ...) -> None: ...

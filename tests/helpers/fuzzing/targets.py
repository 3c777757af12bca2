"""Every target of `scripts/fuzz` by its name; the oracles stand in the modules beside this one."""

from __future__ import annotations

from helpers.fuzzing.bound_targets import CERTIFICATE, PROOF, XFCC
from helpers.fuzzing.descriptor_target import DESCRIPTORS
from helpers.fuzzing.engine import Target
from helpers.fuzzing.grpc_targets import GRPC_TIMEOUT, REQUEST_FRAME
from helpers.fuzzing.policy_target import POLICY
from helpers.fuzzing.signature_target import SIGNATURE
from helpers.fuzzing.text_targets import HOST, JSON, PATH
from helpers.fuzzing.token_targets import PRESENTATION, TOKEN
from helpers.fuzzing.wire_targets import CHECK, HIT

_ALL = (
    *(CHECK, HIT, PATH, HOST, JSON, TOKEN, PRESENTATION),
    *(PROOF, CERTIFICATE, XFCC, SIGNATURE),
    *(POLICY, DESCRIPTORS, REQUEST_FRAME, GRPC_TIMEOUT),
)
TARGETS: dict[str, Target] = {target.name: target for target in _ALL}

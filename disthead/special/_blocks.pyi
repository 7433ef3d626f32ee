from torch import Tensor

ANSWERS: str
FORMULAS: str

def understands(exchange: object, /) -> bool: ...
def log_prob(
    exchange: object,
    likelihood: bytes,
    start: int,
    stop: int,
    raw: Tensor,
    y: Tensor,
    loc: Tensor | None,
    scale: Tensor | None,
    value: Tensor,
    slopes: Tensor | None,
    /,
) -> bool: ...
def rank(
    exchange: object,
    start: int,
    stop: int,
    scores: Tensor,
    orders: Tensor,
    value: Tensor,
    slopes: Tensor | None,
    /,
) -> bool: ...
def choose(
    exchange: object,
    start: int,
    stop: int,
    logits: Tensor,
    index: Tensor,
    value: Tensor,
    /,
    *slopes: Tensor,
) -> bool: ...
def multiply_rows(
    exchange: object, tensor: Tensor, factors: Tensor, divisor: float = 1, /
) -> bool: ...
def negative_mean(exchange: object, values: Tensor, result: Tensor, /) -> bool: ...
def answer(exchange: object, number: int, result: Tensor, /, *tensors: Tensor) -> bool: ...

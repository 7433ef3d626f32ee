from torch import Tensor

OPERATIONS: str
ANSWERS: str

def understands(exchange: object, /) -> bool: ...
def run(
    exchange: object,
    in_double: bool,
    steps: bytes,
    places: int,
    block: int,
    start: int,
    stop: int,
    /,
    *tensors: Tensor,
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
def is_compiled(steps: bytes, /) -> bool: ...
def multiply_rows(exchange: object, tensor: Tensor, factors: Tensor, /) -> bool: ...
def answer(exchange: object, number: int, result: Tensor, /, *tensors: Tensor) -> bool: ...

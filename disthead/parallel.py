"""A categorical head whose classes are spread over processes."""

from typing import TYPE_CHECKING

from disthead.families.categorical import CategoricalFamily
from disthead.head import DistributionHead

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["parallelize"]


def parallelize(head: DistributionHead, mesh: "DeviceMesh") -> DistributionHead:
    """Split the classes of a categorical head among the processes of `mesh`, and return the head.

    The head is changed in place: weight and bias become DTensors, of which each process holds its
    share of the classes. All processes of the mesh give the head the same features and targets;
    log-likelihood and gradients are those of one process, to rounding. Methods that need all
    classes at once, such as `probs`, gather them. Call it after `initialize` and before the
    optimizer is made.

    Args:
        head: with in_features P and K classes.
        mesh: of one dimension.

    Raises:
        ValueError: for a head of another family, of several outputs, or with shared or fixed
            parameters.

    Source: Shoeybi and others 2019, Megatron-LM, section 3.
    """
    from torch.distributed.tensor import Shard, distribute_tensor  # takes a second to import
    from torch.nn import Parameter

    if not isinstance(head.family, CategoricalFamily) or head.event_shape or head.linear is None:
        raise ValueError(
            "parallelize needs a head of one categorical output whose logits are predicted, got "
            f"{head.family.name} with event_shape={head.event_shape}."
        )
    if mesh.ndim != 1:
        raise ValueError(
            f"mesh must have one dimension, over the classes, got {mesh.ndim}. Try mesh['classes']."
        )
    for name, parameter in list(head.linear.named_parameters()):
        placed = Parameter(
            distribute_tensor(parameter.detach(), mesh, [Shard(0)]), parameter.requires_grad
        )
        setattr(head.linear, name, placed)
    return head

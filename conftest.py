"""What pytest leaves out when it looks for examples in docstrings."""

import importlib.util

# which needs Triton
collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["disthead/likelihood/triton_functions.py"]
)

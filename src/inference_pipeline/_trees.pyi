import numpy as np
from numpy.typing import NDArray

def add_margins(
    X: NDArray[np.float32],
    nodes: NDArray[np.void],
    roots: NDArray[np.intp],
    depths: NDArray[np.intc],
    outputs: NDArray[np.intc],
    margin: NDArray[np.float32],
) -> None: ...

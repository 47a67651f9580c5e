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
def add_terms(
    X: NDArray[np.float32],
    columns: NDArray[np.intp],
    weights: NDArray[np.float64],
    absent: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None: ...

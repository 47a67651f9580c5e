"""Build the compiled tree evaluator; without a C compiler the install goes on and XGBoost evaluates."""

from pathlib import Path

from setuptools import Extension, setup

source = "src/inference_pipeline/_trees.pyx"
extensions = [Extension("src.inference_pipeline._trees", [source], extra_compile_args=["-O3"], optional=True)]
setup(ext_modules=extensions if Path(source).exists() else [])

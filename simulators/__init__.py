"""Mechanistic neuron and circuit models as differentiable JAX simulators, one module a model.

Each has PARAMETERS, FEATURES, NOMINAL, DEFAULT, simulate(key, theta, protocol), trace(key, theta,
protocol) and features(trace).
"""

MODELS = ("channels", "gabor", "glm", "hodgkin_huxley", "stg")

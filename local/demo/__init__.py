"""The main job on a sample, from a real queue to a simulated API, with every image and every message accounted for."""

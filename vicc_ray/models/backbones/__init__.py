"""Video backbones, a file each; :mod:`vicc_ray.registry` lists them."""

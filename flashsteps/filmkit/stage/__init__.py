"""The stage: what draws pictures. The only part of the package that imports manim, cairo and HarfBuzz."""

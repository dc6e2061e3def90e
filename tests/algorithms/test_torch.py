"""PyTorch's attention as one more opinion, and its tensors as inputs."""

import numpy as np
import torch
from hypothesis import given, settings

import flashsteps as fs
from tests.problems import FORWARD, problems


@given(problems(FORWARD, dtype_names=("float64",)))
@settings(deadline=None)
def test_scaled_dot_product_attention_agrees(problem):
    # its is_causal=True is aligned to the top left: give it the mask itself. Rows without a key are left out.
    q, k, v = (torch.from_numpy(x)[None] for x in problem.inputs())
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=torch.from_numpy(problem.kept()))
    seeing = problem.kept().any(axis=1)
    np.testing.assert_allclose(problem.record().outputs["O"][seeing], theirs[0].numpy()[seeing], rtol=0, atol=1e-12)


def test_tensors_of_any_kind_are_taken_as_they_are():
    q, k, v = torch.randn(3, 2, 5, 4, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0))
    trace = fs.record("flash-forward", q.requires_grad_(), k, v, head=1, dtype="float32")
    plain = fs.record("flash-forward", *(x.detach()[1].float().numpy() for x in (q, k, v)), dtype="float32")
    np.testing.assert_array_equal(trace.outputs["O"], plain.outputs["O"])

"""The bases of compound scaling, searched for: space, plan, trainings, and how sure the winner is."""

-- What a site's own rule looks like: the gpu partition is for jobs that ask for a GPU.
local function asks_for_gpu(job)
   for _, tres in ipairs({job.tres_per_node, job.tres_per_job, job.tres_per_task, job.tres_per_socket, job.gres}) do
      if tres ~= nil and string.find(tres, "gpu") then
         return true
      end
   end
   return false
end

function slurm_job_submit(job, partitions, uid)
   if job.partition == "gpu" and not asks_for_gpu(job) then
      slurm.log_user("The gpu partition is for jobs that ask for GPUs: add --gres=gpu:1 or choose another partition.")
      return slurm.ERROR
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
   return slurm.SUCCESS
end
